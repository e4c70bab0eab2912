# Gives the disk $1 a file system if it holds nothing at all. Anything that is there, and
# anything that cannot be told, is left alone.
device=$1
status=0
found=$(blkid --probe --output export "$device") || status=$?
case $status in
  0)
    grep -q '^TYPE=ext4$' <<< "$found" && exit 0
    echo "$device holds something other than an ext4 file system, and is left as it is:" >&2
    echo "$found" >&2
    echo "Empty it with wipefs if nothing on it is wanted, then restart the machine." >&2
    exit 1
    ;;
  2)
    # blkid says the same of an empty disk and of one it does not know. This much has the
    # first copies that ext4 and others keep of what they overwrite first.
    some=$((256 * 1024 * 1024))
    size=$(blockdev --getsize64 "$device")
    ((size >= some)) || some=$size
    cmp --silent --bytes="$some" "$device" /dev/zero || {
      echo "$device holds no file system, but is not empty either. It is left as it is." >&2
      echo "Empty it with wipefs or blkdiscard if nothing on it is wanted, then restart the machine." >&2
      exit 1
    }
    mkfs.ext4 -q -L workspace -m 1 "$device"
    ;;
  *)
    echo "blkid cannot tell what $device holds (status $status), so it is left as it is." >&2
    exit 1
    ;;
esac
