# sshd asks with which keys the account $1 may be reached. For the owner OS Login answers:
# with the keys of their Google account that have not expired, as long as IAM lets them log
# in. For everybody else Google's own command does.
#
# http://metadata.google.internal/computeMetadata/v1/oslogin/, as google_authorized_keys of
# https://github.com/GoogleCloudPlatform/guest-oslogin uses it.
account=$1

# What goes wrong must not reach sshd as keys, and it drops the standard error.
say() {
  logger --tag workspace-ssh-keys --priority auth.warning "$1"
}

# ask WHAT KEY=VALUE…; fails when there is no such thing, ends all when there is no answer.
ask() {
  local status=0
  curl --silent --fail --max-time 5 --header 'Metadata-Flavor: Google' --get \
    "${@:2}" "http://metadata.google.internal/computeMetadata/v1/oslogin/$1" || status=$?
  # 22: an HTTP status of 400 or more.
  ((status == 0 || status == 22)) || {
    say "nobody can log in as $account: the metadata server did not answer (curl: $status)"
    kill $$
  }
  return "$status"
}

case " $OS_LOGIN_USERS " in
  *" $account "*) names=("$account") ;;
  *)
    [ "$account" = "$USER_OF_OWNER" ] || exec google_authorized_keys "$account"
    read -ra names <<< "$OS_LOGIN_USERS"
    ;;
esac

for name in "${names[@]}"; do
  profile=$(ask users --data-urlencode "username=$name") || continue
  id=$(jq --raw-output '.loginProfiles[0].name // empty' <<< "$profile")
  # It is a number or an address, and then it must be the owner's.
  case $id in
    "") continue ;;
    *@*)
      [ "${id,,}" = "${OWNER,,}" ] || {
        say "$name is the OS Login user of $id, not of the owner $OWNER"
        continue
      }
      ;;
  esac
  jq --exit-status '.success == true' > /dev/null <<< "$(ask authorize --data-urlencode "email=$id" --data-urlencode policy=login)" || {
    say "IAM does not let $name log in on this machine"
    continue
  }
  jq --raw-output --argjson now "$(date +%s)" '
    .loginProfiles[0].sshPublicKeys // {} | .[]
    | select(.expirationTimeUsec == null or (.expirationTimeUsec | tonumber) > $now * 1000000)
    | .key
  ' <<< "$profile"
  exit
done
