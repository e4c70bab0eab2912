# The disk $1 is not in use: says so with the command $2, and lets nobody, not even root,
# put files into the empty folder that it would have covered.
device=$1 notice=$2
if [ -e "$device" ]; then
  echo "$device, the disk with everybody's files, cannot be used: see the journal of workspace-disk-format and persist.mount." >&2
  what='cannot be used' mend='can find the reason in the journal of this machine'
else
  echo "$device, the disk with everybody's files, is missing. Attach it." >&2
  what='is missing' mend='can attach the disk; nothing else is needed'
fi
"$notice" disk-missing "The disk with your files $what." \
  "They are not lost, but they cannot be opened. Whoever looks after the fleet $mend."
mkdir --parents /home
chattr +i /home
