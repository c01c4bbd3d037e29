// Swagger UI with what the service tells of itself, for who has the key where it wants one; also to try it.

import { showProblem } from "./notice.js";
import { ask, key } from "./service.js";

const withKey = (request) => {
  if (key.get()) request.headers["X-API-Key"] ??= key.get();
  return request;
};

async function show() {
  try {
    const { body } = await ask("openapi.json");
    SwaggerUIBundle({ spec: body, dom_id: "#api", deepLinking: true, requestInterceptor: withKey });
  } catch (error) {
    if (await showProblem(error)) show();
  }
}

show();
