# Brings what the owner's profiles lead to back into this machine's store: from the copy
# beside their home, else from binary caches, else element by element from the manifest.
# $3: the owner's account.
user=$3 lost=()

# Adds the elements in NAME.missing.json to the profile NAME. What cannot be had stays there.
add_missing() {
  local name=$1 file=$kept/$1.missing.json element reference references installables
  [ -e "$file" ] || return 0
  while IFS= read -r element; do
    # As it was asked for, so that it can be upgraded; else the very paths that it was.
    mapfile -t references < <(
      jq --raw-output --arg name "$element" '.elements[$name] |
        if .originalUrl then "\(.url)#\(.attrPath)" + (if .outputs then "^" + (.outputs | join(",")) else "" end) else empty end,
        (.storePaths | join(" "))' "$file"
    )
    for reference in "${references[@]}"; do
      read -ra installables <<< "$reference"
      if runuser --user "$user" -- env HOME="${profiles%/.local/*}" \
        nix profile add --profile "$profiles/$name" "${installables[@]}"; then
        jq --arg name "$element" 'del(.elements[$name])' "$file" | replace "$file"
        continue 2
      fi
    done
    lost+=("$element")
  done < <(jq --raw-output '.elements | keys[]' "$file")
  [ "$(jq '.elements | length' "$file")" != 0 ] || rm "$file"
}

for name in $(names); do
  path=$(path_of "$name") || continue
  # The store forgets with the machine that this link keeps what it leads to.
  mkdir --parents /nix/var/nix/gcroots/auto
  ln --symbolic --force --no-target-directory "$profiles/$(readlink "$profiles/$name")" \
    "/nix/var/nix/gcroots/auto/workspace-own-$name"
  if ! nix-store --check-validity "$path" 2>/dev/null &&
    ! { [ -d "$kept/store" ] && nix copy --no-check-sigs --from "$store" "$path"; } &&
    ! nix-store --realise "$path" > /dev/null; then
    if [ -e "$kept/$name.json" ]; then
      # With what an earlier machine could not bring back either.
      manifests=("$kept/$name.json")
      [ ! -e "$kept/$name.missing.json" ] || manifests+=("$kept/$name.missing.json")
      jq --slurp '{ elements: [.[].elements] | add }' "${manifests[@]}" | replace "$kept/$name.missing.json"
    else
      lost+=("everything in the profile $name")
    fi
  fi
  add_missing "$name"
done

if [ ${#lost[@]} != 0 ]; then
  # What somebody has installed is not everybody's business.
  workspace-notice own-profile-lost "Packages that you installed could not be brought back yet." \
    "They are tried again at the next start. Terminals list them." "Missing: ${lost[*]}"
  echo "could not be brought back: ${lost[*]}" >&2
  exit 1
fi
workspace-notice own-profile-lost
