# Shows what takes the space on the disks, and how to get it back.

# largest PATH…: the largest of these first. Not all of them are there, or may be read.
largest() {
  du --human-readable --one-file-system --summarize -- "$@" 2> /dev/null |
    sort --human-numeric-sort --reverse | head -n 12 || true
}

disks=(/)
! mountpoint --quiet /persist || disks+=(/persist)
df --human-readable --output=target,size,used,avail,pcent "${disks[@]}"

shopt -s nullglob dotglob
printf '\nIn %s:\n' "$HOME"
largest "$HOME"/*
echo
echo "On the disk of the system:"
largest /nix/store /var/lib/docker /var/lib/containers /var/log /tmp /var/tmp
cat << 'END'

To get it back:
  nix profile wipe-history && sudo nix-collect-garbage   what your older profiles, and nobody at all, needs
  docker system prune                                    stopped containers, images and networks that no container uses
  docker system df -v                                    what docker has, by image, container and volume
  du -h --max-depth=2 ~ | sort -h | tail                 one level deeper in your files
END
