#!/usr/bin/env bash
# Ten replicas of 1,000 writes each that meet: Holdfast's rooms beside libraries that merge, one key for each claim.
# Uses what is installed and says what is not; installs nothing. What it was tried with:
#
#   python3 -m venv DIR/venv && DIR/venv/bin/pip install --require-hashes -r benchmarks/rooms_peers.txt
#   npm install --prefix DIR yjs@13.6.33 @automerge/automerge@3.5.0
#   PEERS=DIR benchmarks/rooms_peers.sh
#
# The peers exchange updates as bytes, each with each; none of them decides who gets a slot, or ever confirms anything.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python=${PYTHON:-$here/../.venv/bin/python}
peers=${PEERS:-}
peers_python=$([ -x "$peers/venv/bin/python" ] && echo "$peers/venv/bin/python" || echo "$python")
replicas=10
claims=${CLAIMS:-1000}

echo "| system | processor time of the merge, ms | exchanged, MB | confirmed |"
echo "|---|---|---|---|"
"$python" "$here/rooms_peers.py" holdfast "$replicas" "$claims"
"$peers_python" "$here/rooms_peers.py" pycrdt "$replicas" "$claims"
if command -v node >/dev/null; then
    NODE_PATH="$peers/node_modules" node "$here/rooms_peers.cjs" "$replicas" "$claims"
else
    echo "node is not installed, so Yjs and Automerge are left out." >&2
fi
