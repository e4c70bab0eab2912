# The disk $1 is not in use: puts a word about it into the page fragment $2, and lets
# nobody, not even root, put files into the empty folder that it would have covered.
device=$1 notice=$2
if [ -e "$device" ]; then
  echo "$device, the disk with everybody's files, cannot be used: see the journal of workspace-disk-format and persist.mount." >&2
  what='cannot be used' mend='can find the reason in the journal of this machine'
else
  echo "$device, the disk with everybody's files, is missing. Attach it." >&2
  what='is missing' mend='can attach the disk; nothing else is needed'
fi
mkdir --parents "$(dirname "$notice")" /home
cat > "$notice.new" << END
<p class="notice" role="alert"><strong>The disk with your files $what.</strong>
They are not lost, but they cannot be opened. Whoever looks after the fleet $mend.</p>
END
mv "$notice.new" "$notice"
chattr +i /home
