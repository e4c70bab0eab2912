# What both scripts of the owner's profiles know.
#
# $1: the owner's profiles, such as `profile` → `profile-3-link` → a path of the store.
# $2: the folder that outlives the machine. Its `store` is a Nix store with copies of these
#     paths; NAME.json is the manifest of the profile NAME; NAME.missing.json those elements
#     of it that could not be brought back yet.
profiles=$1 kept=$2
store="local?root=$kept/store"
mkdir --parents "$kept"
shopt -s nullglob

# The names of the profiles.
names() {
  local link
  for link in "$profiles"/*; do
    [[ -L $link && $(readlink "$link") =~ ^[A-Za-z0-9_-]+-[0-9]+-link$ ]] && basename "$link"
  done
}

# Prints the store path of the profile $1.
path_of() {
  local path
  path=$(readlink "$profiles/$(readlink "$profiles/$1")") || return
  [[ $path =~ ^/nix/store/[0-9a-z]{32}-[A-Za-z0-9+._?=-]+$ ]] && echo "$path"
}

# Replaces the file $1 by standard input, or leaves it as it was.
replace() {
  cat > "$1.new"
  sync "$1.new"
  mv "$1.new" "$1"
}
