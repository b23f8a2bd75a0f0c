# Completes `cargo xtask` in fish, beside the completion that cargo has already.
function __xtask_is_command
    set -l words (commandline -opc)
    test (count $words) -ge 2; and test "$words[2]" = xtask
end
function __xtask_complete
    set -l words (commandline -opc)
    cargo xtask complete -- $words[3..-1] (commandline -ct) 2>/dev/null
end
complete -c cargo -n __xtask_is_command -f -a '(__xtask_complete)'
