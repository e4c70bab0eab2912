# Brings the newest version of $SECRET from Secret Manager into $DIRECTORY, in the
# form that oauth2-proxy reads. Nothing is written when it is there already.
answer=$(mktemp "$DIRECTORY/.answer.XXXXXX")
trap 'rm -f "$answer" "$answer.new"' EXIT

status=0
read-secret "$SECRET" > "$answer" || status=$?
if [ "$status" = 4 ]; then
  case $LOGIN in
    password) echo "So nobody can log in. 'cargo xtask up' makes a password." >&2 ;;
    google) echo "So nobody can log in. Make an OAuth client in Google's console and add its JSON file as a version." >&2 ;;
  esac
  rm -f "$DIRECTORY/version"
  # What was valid no longer is. This is the hash of no password anybody could know.
  if [ "$LOGIN" = password ] && ! grep -q '^nobody:' "$DIRECTORY/htpasswd"; then
    printf 'nobody:{SHA}%s\n' "$(head -c 20 /dev/urandom | base64)" > "$answer.new"
    mv "$answer.new" "$DIRECTORY/htpasswd"
  fi
  exit 0
fi
[ "$status" = 0 ] || exit "$status"

version=$(jq --raw-output .name "$answer")
[ "$version" != "$(cat "$DIRECTORY/version" 2>/dev/null || true)" ] || exit 0

payload() { jq --raw-output '.payload.data | @base64d' "$answer"; }

case $LOGIN in
  password)
    target=$DIRECTORY/htpasswd
    [ -n "$(payload | head -1)" ] || {
      echo "$SECRET is empty, or begins with an empty line. 'cargo xtask password --rotate' makes a new one." >&2
      exit 1
    }
    hash=$(payload | mkpasswd --stdin --method=bcrypt --rounds=12)
    printf '%s:%s\n' "$OWNER" "$hash" > "$answer.new"
    ;;
  google)
    target=$DIRECTORY/oauth-client.env
    payload | jq --exit-status --raw-output '
      .web | select(.client_id and .client_secret) |
      "OAUTH2_PROXY_CLIENT_ID=\(.client_id)\nOAUTH2_PROXY_CLIENT_SECRET=\(.client_secret)"' > "$answer.new" || {
      echo "$SECRET is not the JSON file that Google's console offers for an OAuth client of a web application. Add that file as a version." >&2
      exit 1
    }
    ;;
esac
mv "$answer.new" "$target"
echo "$version" > "$DIRECTORY/version"
