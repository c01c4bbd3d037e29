-- wrk -s wrk.lua URL -- 'NAME: VALUE'... BODY_FILE...: posts the bodies in turn; the last line it prints is JSON.

local requests, turn = {}, 0

function init(arguments)
  wrk.method = "POST"
  for _, argument in ipairs(arguments) do
    local name, value = argument:match("^([%w-]+): (.*)$")
    if name then
      wrk.headers[name] = value
    else
      local file = assert(io.open(argument, "rb"))
      wrk.body = file:read("*a")
      file:close()
      requests[#requests + 1] = wrk.format()
    end
  end
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"requests":%d,"seconds":%.6f,"p50_ms":%.4f,"p99_ms":%.4f,"refused":%d,"failed":%d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
