# Puts what lies on the disk mounted at $1 where the machine looks for it, and makes there
# the home $4 of the account $2 in the group $3. What is there stays as it is. Takes back
# the notice $5 that the disk is missing.
disk=$1 user=$2 group=$3 home=$4 notice=$5

bind() {
  mkdir --parents "$disk/$1" "$2"
  ! mountpoint --quiet "$2" || return 0
  # On a disk that came late, what the machine has made meanwhile.
  [ -n "$(ls --almost-all "$disk/$1")" ] || cp --archive "$2/." "$disk/$1/"
  mount --bind "$disk/$1" "$2"
}

bind home /home
if [ ! -e "$home" ]; then
  mkdir --mode=700 "$home"
  chown "$user:$group" "$home"
fi

# A machine built anew orders no new certificate, and its owner stays logged in.
bind acme /var/lib/acme
bind login /var/lib/workspace-login

rm --force "$notice"
