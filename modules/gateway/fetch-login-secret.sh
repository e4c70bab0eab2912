# Brings the newest version of $SECRET from Secret Manager into $DIRECTORY, in the
# form that oauth2-proxy reads. Nothing is written when it is there already.
# Tokens and secrets go through pipes and files in memory, never through an argv.
metadata="http://${GCE_METADATA_HOST:-metadata.google.internal}/computeMetadata/v1"
api="${GOOGLE_SECRET_MANAGER_CUSTOM_ENDPOINT:-https://secretmanager.googleapis.com/v1/}"

ask_metadata() {
  curl --silent --show-error --fail --max-time 10 --header 'Metadata-Flavor: Google' "$metadata/$1"
}

answer=$(mktemp "$DIRECTORY/.answer.XXXXXX")
trap 'rm -f "$answer" "$answer.new"' EXIT

project=$(ask_metadata project/project-id)
status=$(
  ask_metadata instance/service-accounts/default/token |
    jq --raw-output '"header = \"Authorization: Bearer \(.access_token)\""' |
    curl --silent --show-error --max-time 30 --config - --output "$answer" --write-out '%{http_code}' \
      "${api}projects/$project/secrets/$SECRET/versions/latest:access"
)
case $status in
  200) ;;
  # 400: the newest version is disabled or destroyed.
  400 | 404)
    echo "Secret Manager has no version of $SECRET that may be read, so nobody can log in. 'cargo xtask up' makes one." >&2
    rm -f "$DIRECTORY/version"
    # What was valid no longer is. This is the hash of no password anybody could know.
    if [ "$LOGIN" = password ] && ! grep -q '^nobody:' "$DIRECTORY/htpasswd"; then
      printf 'nobody:{SHA}%s\n' "$(head -c 20 /dev/urandom | base64)" > "$answer.new"
      mv "$answer.new" "$DIRECTORY/htpasswd"
    fi
    exit 0
    ;;
  *)
    echo "Secret Manager answered $status for $SECRET: $(jq --raw-output '.error.message // empty' "$answer" | tr -d '\n' | cut -c1-300)" >&2
    exit 1
    ;;
esac

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
    # The file that Google's console offers for download when a client is made.
    target=$DIRECTORY/oauth-client.env
    payload | jq --exit-status --raw-output '.web | "OAUTH2_PROXY_CLIENT_ID=\(.client_id)\nOAUTH2_PROXY_CLIENT_SECRET=\(.client_secret)"' > "$answer.new"
    ;;
esac
mv "$answer.new" "$target"
echo "$version" > "$DIRECTORY/version"
