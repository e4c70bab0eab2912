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
  404)
    echo "Secret Manager has no version of $SECRET yet, so nobody can log in. 'cargo xtask up' makes one." >&2
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
    printf '%s:%s\n' "$OWNER" "$(payload | mkpasswd --stdin --method=bcrypt --rounds=12)" > "$answer.new"
    ;;
  google)
    # The file that Google's console offers for download when a client is made.
    target=$DIRECTORY/oauth-client.env
    payload | jq --raw-output '.web | "OAUTH2_PROXY_CLIENT_ID=\(.client_id)\nOAUTH2_PROXY_CLIENT_SECRET=\(.client_secret)"' > "$answer.new"
    ;;
esac
mv "$answer.new" "$target"
echo "$version" > "$DIRECTORY/version"
