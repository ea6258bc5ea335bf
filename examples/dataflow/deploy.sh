#!/usr/bin/env bash
# Builds the image and three Flex Templates of it, embed, index and nightly: the templates of a release. Run it from the
# top of the repository with PROJECT, REGION and BUCKET set; TAG names the image (by default the commit), TARGET is cpu
# or gpu, RUN_AS the id of the image's user. The repository `catalog` must be in Artifact Registry; docs/dataflow.md has the commands and the roles.
set -euo pipefail

: "${PROJECT:?}" "${REGION:?}" "${BUCKET:?}"
target="${TARGET:-cpu}"
tag="${TAG:-$(git rev-parse --short=12 HEAD)-$target}"
image="$REGION-docker.pkg.dev/$PROJECT/catalog/indexer:$tag"

docker build --target "$target" --build-arg RUN_AS="${RUN_AS:-10001}" --tag "$image" .
docker push "$image"

for job in embed index nightly; do
  gcloud dataflow flex-template build "gs://$BUCKET/templates/$job.json" \
    --image "$image" --sdk-language PYTHON --metadata-file "examples/dataflow/templates/$job.json"
done
echo "$image"
