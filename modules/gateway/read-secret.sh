# Reads the newest version of the secret $1 from Secret Manager and prints Google's answer,
# JSON with .name and .payload.data. The status is 4 when there is none.
# Tokens and secrets go through pipes and files in memory, never through an argv.
secret=$1
metadata="http://${GCE_METADATA_HOST:-metadata.google.internal}/computeMetadata/v1"
api="${GOOGLE_SECRET_MANAGER_CUSTOM_ENDPOINT:-https://secretmanager.googleapis.com/v1/}"

ask_metadata() {
  curl --silent --show-error --fail --max-time 10 --header 'Metadata-Flavor: Google' "$metadata/$1"
}

answer=$(mktemp "$DIRECTORY/.answer.XXXXXX")
trap 'rm -f "$answer"' EXIT

project=$(ask_metadata project/project-id)
status=$(
  ask_metadata instance/service-accounts/default/token |
    jq --raw-output '"header = \"Authorization: Bearer \(.access_token)\""' |
    curl --silent --show-error --max-time 30 --config - --output "$answer" --write-out '%{http_code}' \
      "${api}projects/$project/secrets/$secret/versions/latest:access"
)
case $status in
  200) cat "$answer" ;;
  # 400: the newest version is disabled or destroyed.
  400 | 404)
    echo "Secret Manager has no version of $secret that may be read." >&2
    exit 4
    ;;
  *)
    echo "Secret Manager answered $status for $secret: $(jq --raw-output '.error.message // empty' "$answer" | tr -d '\n' | cut -c1-300)" >&2
    exit 1
    ;;
esac
