#!/bin/sh
# Encode, mine and score on a Ray cluster: `ray job submit` sends this folder and runs job.toml there.
# Needs: neglabel[ray] on every node and ray[default] here and on the head, pictures in DIR/pictures, and a folder DIR that
# all nodes share. A cluster that asks for a token takes it from RAY_AUTH_TOKEN.
#   RAY_API_SERVER_ADDRESS=http://HEAD:8265 examples/cluster/submit.sh /shared/neglabel
set -eu
here=$(cd "$(dirname "$0")" && pwd)
shared=${1:?name a folder that all nodes share}
mkdir -p "$shared"
sed "s|@SHARED@|$shared|" "$here/job.toml" > "$shared/job.toml"
printf 'cat\ndog\nhorse\n' > "$shared/labels.txt"
# The driver needs no GPU and no processor of its own: --address auto is the cluster that the job runs in.
ray job submit --working-dir "$here" -- neglabel run "$shared/job.toml"
