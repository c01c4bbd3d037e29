# Sourced by serve, wheel and container: what they all ask of a running service. Each check is one counted line.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
seven=$(compgen -G "../shared/data/mnist_png_sample/test/7_*.png" | head -n 1 | xargs realpath)

# $1: a sentence; then the command that succeeds when it is true.
check() {
  if "${@:2}"; then echo "ok - $1"; else echo "not ok - $1"; return 1; fi
}

free_port() { python3 -c 'import socket; print(socket.create_server(("127.0.0.1", 0)).getsockname()[1])'; }

# $1: port, $2: seconds.
ready_within() {
  local end=$(($(date +%s%3N) + 1000 * $2))
  until curl -fs --max-time 1 -o /dev/null "http://127.0.0.1:$1/health/ready"; do
    (($(date +%s%3N) < end)) || return 1
    sleep 0.1
  done
}

# $1: port. MNIST's picture of a seven is read as one.
reads_a_seven() {
  curl -fsS -F "file=@$seven" "http://127.0.0.1:$1/predict" | jq -e '.digit == 7' >/dev/null
}

# $1: process. Asks it to end, and exits as it did.
stop() { kill -TERM "$1" 2>/dev/null && wait "$1"; }
