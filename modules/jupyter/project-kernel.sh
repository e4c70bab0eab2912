# Runs the Python kernel of the project that the current folder is in, for the connection
# file $1. The nearest folder with an .envrc or a .venv is the project's: the environment
# is what direnv makes of the one, the Python that of the other, if they are there.
connection=$1
folder=$PWD
until [ -e "$folder/.envrc" ] || [ -x "$folder/.venv/bin/python" ]; do
  if [ "$folder" = / ]; then
    echo "No .envrc and no .venv in $PWD or above it. Make one with: uv venv && uv pip install ipykernel" >&2
    exit 1
  fi
  folder=$(dirname "$folder")
done

run=()
python=python
[ ! -e "$folder/.envrc" ] || run=(direnv exec "$folder")
[ ! -x "$folder/.venv/bin/python" ] || python=$folder/.venv/bin/python
"${run[@]}" "$python" -c 'import ipykernel' || {
  echo "The Python of $folder has no ipykernel. Add it with: uv pip install ipykernel; after a change of .envrc: direnv allow" >&2
  exit 1
}
exec "${run[@]}" "$python" -m ipykernel_launcher -f "$connection"
