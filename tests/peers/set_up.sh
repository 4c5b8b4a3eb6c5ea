#!/usr/bin/env bash
# Installs what the clients in tests/peers need, apart from the gateway's own .venv. The tests skip what is missing.
set -u
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}
[ -x .venv-peers/bin/python ] || "$python" -m venv .venv-peers
.venv-peers/bin/python -m pip install -q -r tests/peers/requirements.txt || echo "peers: Python clients could not be installed"
.venv/bin/python -m pip install -q playwright==1.65.2 || echo "peers: playwright could not be installed"
if command -v npm >/dev/null; then
  npm install --silent --no-audit --no-fund --no-package-lock --prefix tests/peers/node || echo "peers: npm clients could not be installed"
fi
bash tests/peers/asterisk/build.sh || echo "peers: Asterisk could not be unpacked"
# Phoenix, a reader of traces: 850 MB, in an environment of its own.
phoenix=$HOME/.cache/patchbay/phoenix
if [ "${1:-}" = phoenix ] && [ ! -x "$phoenix/bin/phoenix" ]; then
  "$python" -m venv "$phoenix" && "$phoenix/bin/python" -m pip install -q arize-phoenix==20.26.1 || echo "peers: Phoenix could not be installed"
fi
exit 0
