# Puts the key that binds the ACME account to one at the certificate authority's into
# $DIRECTORY/eab.env, from the file $FILE or else from the secret $SECRET in Secret Manager:
# JSON with keyId and b64MacKey, as `gcloud publicca external-account-keys create` prints it.
answer=$(mktemp "$DIRECTORY/.answer.XXXXXX")
trap 'rm -f "$answer" "$answer.new"' EXIT

payload() {
  if [ -n "$FILE" ]; then
    cat "$FILE"
  else
    jq --raw-output '.payload.data | @base64d' "$answer"
  fi
}

if [ -z "$FILE" ]; then
  status=0
  read-secret "$SECRET" > "$answer" || status=$?
  if [ "$status" = 4 ]; then
    echo "It is needed until the account is registered, and never again." >&2
    exit 0
  fi
  [ "$status" = 0 ] || exit "$status"
fi

payload | jq --exit-status --raw-output '
  select(.keyId and .b64MacKey) | "LEGO_EAB_KID=\(.keyId)\nLEGO_EAB_HMAC=\(.b64MacKey)"' > "$answer.new" || {
  echo "${FILE:-$SECRET} is not JSON with keyId and b64MacKey. 'gcloud publicca external-account-keys create --format=json' prints it." >&2
  exit 1
}
mv "$answer.new" "$DIRECTORY/eab.env"
