# Makes the editor's list of the extensions in the folder $1 say what the list $2 says of
# those that lie in the store. One that the owner has installed as well stays the owner's.
list=$1/extensions.json wanted=$2
mkdir --parents "$1"
[ -s "$list" ] || echo '[]' > "$list"
if jq --slurpfile wanted "$wanted" '
  map(select(.location.path | strings | startswith("/nix/store/") | not)) as $own
  | ($own | map(.identifier.id | ascii_downcase)) as $ids
  | $own + ($wanted[0] | map(select((.identifier.id | ascii_downcase) as $id | $ids | index($id) | not)))
' "$list" > "$list.new"; then
  mv "$list.new" "$list"
else
  # An editor without them is better than none.
  echo "$list cannot be read, so extensions of the system are not offered. Move it away and restart the editor." >&2
  rm "$list.new"
fi
