# The disk $1 is not there: puts a word about it into the page fragment $2, and lets
# nobody, not even root, put files into the empty folder that it would have covered.
device=$1 notice=$2
echo "$device, the disk with everybody's files, is missing. Attach it." >&2
chattr +i /home
mkdir --parents "$(dirname "$notice")"
cat > "$notice.new" << END
<p class="notice" role="alert"><strong>The disk with your files is missing.</strong>
They are not lost, but they cannot be opened. Whoever looks after the fleet can attach the disk; nothing else is needed.</p>
END
mv "$notice.new" "$notice"
