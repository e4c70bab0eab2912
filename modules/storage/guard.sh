# Tells the owner of disks of which more than $1 percent are in use, and takes that back
# when there is room again.
limit=$1

# check NOTICE MOUNT-POINT NAME MEND
check() {
  local used
  used=$(df --output=pcent "$2" | tail -n 1 | tr -cd 0-9)
  if ((used < limit)); then
    workspace-notice "$1"
    return
  fi
  echo "$2 is $used % full." >&2
  workspace-notice "$1" "$3 is $used % full." "$4" \
    "workspace-space shows what takes the space, and how to get it back."
}

check disk-full-boot / "The disk of the system" \
  "Make room with sudo nix-collect-garbage and docker system prune. If that is not enough, whoever looks after the fleet can raise boot_disk_gb in fleet.toml, which builds the machine anew around your files."
if mountpoint --quiet /persist; then
  check disk-full-home /persist "The disk with your files" \
    "Remove what you do not need, or ask whoever looks after the fleet to raise home_disk_gb in fleet.toml and to run cargo xtask up. Nothing needs a restart."
fi
