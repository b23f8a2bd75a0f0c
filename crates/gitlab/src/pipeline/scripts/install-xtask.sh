archive="$(mktemp)"
redirect="$(case "$XTASK_ARCHIVE" in
  "$CI_API_V4_URL"/*) printf 'header = "JOB-TOKEN: %s"\n' "$CI_JOB_TOKEN" ;;
esac | curl -fsS --retry 3 --config - -o "$archive" -w '%{redirect_url}' "$XTASK_ARCHIVE")"
[ -z "$redirect" ] || curl -fsSL --retry 3 -o "$archive" "$redirect"
echo "$XTASK_SHA256  $archive" | sha256sum --check --strict --quiet
tar -xzf "$archive" -C .xtask/bin
rm "$archive"
