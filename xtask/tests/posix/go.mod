module xtask/posix

go 1.25.0

require mvdan.cc/sh/v3 v3.13.1
