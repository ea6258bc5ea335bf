#!/usr/bin/env bash
# Builds the image and the Flex Template, and has Cloud Scheduler launch it every night. Run it from the top of the
# repository, with PROJECT, REGION and BUCKET set and CONFIG, the path of your configuration, once the repository
# `catalog` is in Artifact Registry.
#
# The service account needs roles/dataflow.worker, and roles/storage.objectAdmin on the bucket; to launch, and for
# `engine: dataflow` in the configuration, roles/dataflow.developer and roles/iam.serviceAccountUser.
set -euo pipefail

: "${CONFIG:?the path of your configuration, such as nightly.yaml}" "${PROJECT:?}" "${REGION:?}" "${BUCKET:?}"
[ -f "$CONFIG" ] || { echo "CONFIG is $CONFIG: no such file" >&2; exit 2; }

here=examples/nightly/flex-template
image="$REGION-docker.pkg.dev/$PROJECT/catalog/nightly"
account="catalog-nightly@$PROJECT.iam.gserviceaccount.com"

docker build --tag catalog-indexer .
docker build --tag "$image" --file "$here/Dockerfile" .
docker push "$image"

gcloud storage cp "$CONFIG" "gs://$BUCKET/config/nightly.yaml"
gcloud dataflow flex-template build "gs://$BUCKET/templates/nightly.json" \
  --image "$image" --sdk-language PYTHON --metadata-file "$here/metadata.json"

body="$(mktemp)"
sed -e "s/PROJECT/$PROJECT/g; s/REGION/$REGION/g; s/BUCKET/$BUCKET/g" "$here/launch.json" > "$body"
gcloud scheduler jobs create http catalog-nightly \
  --location "$REGION" --schedule '30 1 * * *' --time-zone Etc/UTC \
  --uri "https://dataflow.googleapis.com/v1b3/projects/$PROJECT/locations/$REGION/flexTemplates:launch" \
  --http-method POST --headers Content-Type=application/json --message-body-from-file "$body" \
  --oauth-service-account-email "$account"
