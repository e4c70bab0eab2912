# Copies what the owner's profiles need beside their home, and lets go of what they no longer do.
roots=$kept/store/nix/var/nix/gcroots

# The links, by which a change is told.
generations() {
  local name
  for name in $(names); do readlink "$profiles/$name"; done
}

keep() {
  local complete=yes name path needed size free root wanted=() missing
  for name in $(names); do
    path=$(path_of "$name") || continue
    wanted+=("$name")
    if [ ! -e "$path" ]; then
      # Not brought back yet: its copy is the only one.
      complete=
      continue
    fi
    # First: with it the profile can be made again even if there is no room for the rest.
    [ ! -e "$path/manifest.json" ] || replace "$kept/$name.json" < "$path/manifest.json"

    [ "$(readlink "$roots/$name" || true)" != "$path" ] || continue
    missing=()
    while IFS= read -r needed; do
      [ -e "$kept/store$needed" ] || missing+=("$needed")
    done < <(nix-store --query --requisites "$path")
    size=0
    [ ${#missing[@]} = 0 ] || size=$(nix-store --query --size "${missing[@]}" | jq --slurp add)
    free=$(df --block-size=1 --output=avail "$kept" | tail -1)
    # The disk is for the owner's work.
    if ((size > free / 2)); then
      workspace-notice own-profile "Packages that you installed are not kept." \
        "They need $((size >> 20)) MiB more beside your home, which has $((free >> 20)) MiB free, so a new machine would have to fetch them anew. Make room or remove packages."
      echo "$name: $((size >> 20)) MiB for its copy, and $((free >> 20)) MiB are free" >&2
      exit 1
    fi
    mkdir --parents "$roots"
    nix copy --no-check-sigs --to "$store" "$path"
    ln --symbolic --force --no-target-directory "$path" "$roots/.new"
    mv --no-target-directory "$roots/.new" "$roots/$name"
  done

  if [ "$complete" ] && [ -d "$roots" ]; then
    for root in "$roots"/*; do
      [[ ! -L $root || " ${wanted[*]} " == *" $(basename "$root") "* ]] || rm "$root"
    done
    nix store gc --store "$store" --quiet
  fi
}

# systemd does not watch while this runs.
until [ "$(generations)" = "${seen-none}" ]; do
  seen=$(generations)
  keep
done
workspace-notice own-profile
