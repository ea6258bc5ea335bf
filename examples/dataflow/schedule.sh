#!/usr/bin/env bash
# Copies a configuration to the bucket and has Cloud Scheduler launch the template `nightly` every night. Run it from the
# top of the repository once deploy.sh has built TAG, with PROJECT, REGION, BUCKET and TAG set, and CONFIG, the path of
# the configuration. Run again, it replaces the configuration and the schedule.
set -euo pipefail

: "${CONFIG:?the path of your configuration, such as nightly.yaml}" "${PROJECT:?}" "${REGION:?}" "${BUCKET:?}" "${TAG:?}"
[ -f "$CONFIG" ] || { echo "CONFIG is $CONFIG: no such file" >&2; exit 2; }

account="catalog-indexer@$PROJECT.iam.gserviceaccount.com"
body="$(mktemp)"
trap 'rm -f "$body"' EXIT
sed -e "s/PROJECT/$PROJECT/g; s/REGION/$REGION/g; s/BUCKET/$BUCKET/g; s/TAG/$TAG/g" \
  examples/dataflow/launch/nightly.json > "$body"

gcloud storage cp "$CONFIG" "gs://$BUCKET/config/nightly.yaml"
verb=create
if gcloud scheduler jobs describe catalog-nightly --location "$REGION" > /dev/null 2>&1; then verb=update; fi
headers=--headers
if [ "$verb" = update ]; then headers=--update-headers; fi
gcloud scheduler jobs "$verb" http catalog-nightly \
  --location "$REGION" --schedule '30 1 * * *' --time-zone Etc/UTC \
  --uri "https://dataflow.googleapis.com/v1b3/projects/$PROJECT/locations/$REGION/flexTemplates:launch" \
  --http-method POST "$headers" Content-Type=application/json --message-body-from-file "$body" \
  --oauth-service-account-email "$account"
