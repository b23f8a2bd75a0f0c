timeout 60 sh -c 'until docker info >/dev/null 2>&1; do sleep 1; done' || {
  echo "no Docker daemon at $DOCKER_HOST: is the runner privileged, and is /certs/client one of its volumes?"
  docker info
  exit 1
}
