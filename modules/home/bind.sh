# Puts what lies on the disk mounted at $1 where the machine looks for it, and makes there
# the home $4 of the account $2 in the group $3. Each further argument is NAME=FOLDER: what
# is called so on the disk, and where it belongs. What is there stays as it is.
disk=$1 user=$2 group=$3 home=$4
shift 4

for entry; do
  stored=$disk/${entry%%=*} folder=${entry#*=}
  mkdir --parents "$stored" "$folder"
  ! mountpoint --quiet "$folder" || continue
  # On a disk that came late, what the machine has made meanwhile.
  [ -n "$(ls --almost-all "$stored")" ] || cp --archive "$folder/." "$stored/"
  mount --bind "$stored" "$folder"
done

if [ ! -e "$home" ]; then
  mkdir --mode=700 "$home"
  chown "$user:$group" "$home"
fi
