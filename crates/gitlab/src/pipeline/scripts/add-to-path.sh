mkdir -p .xtask/bin
export PATH="$CI_PROJECT_DIR/.xtask/bin:$PATH"
