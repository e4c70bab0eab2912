# Each file in the folder $1 is named after the unit of a server that runs, and holds three
# lines: the file that its unit was read from when it started, its socket, and an expression
# that its own processes match. A server whose unit is another one by now is restarted, or
# stopped if it is none any more, as soon as nothing else runs in it and nobody is connected.
for record in "$1"/*; do
  [ -e "$record" ] || continue
  name=${record##*/} unit=${record##*/}.service
  { read -r from; read -r socket; read -r processes; } < "$record"
  now=$(readlink --canonicalize-existing "/etc/systemd/system/$unit" || true)
  [ "$now" != "$from" ] || continue
  systemctl is-active --quiet "$unit" || continue

  work=$(
    ps --no-headers -ww -eo unit:256,args |
      unit=$unit processes=$processes gawk '!found && $1 == ENVIRON["unit"] && $0 !~ ENVIRON["processes"] { $1 = ""; print; found = 1 }'
  )
  if ss --no-header --unix | grep --fixed-strings " $socket " > /dev/null; then
    echo "$name waits for its restart: somebody is connected."
  elif [ -n "$work" ]; then
    echo "$name waits for its restart: at work is$work"
  elif [ -n "$now" ]; then
    echo "$name is restarted, for its unit has changed."
    systemctl restart "$unit"
  else
    echo "$name is stopped, for this system has another server in its place."
    systemctl stop "$unit"
    rm "$record"
  fi
done
