# Completes `cargo xtask` in fish, beside the completion that cargo has already.
function __xtask_is_command
    set -l words (commandline -opc)
    test (count $words) -ge 2; and test "$words[2]" = xtask
end
# Asks the program that is built already, because Cargo would compile a changed one first.
function __xtask_ask
    set -l dir $PWD
    while test -n "$dir"
        for program in "$dir/target/debug/xtask" "$dir/xtask/target/debug/xtask"
            if test -f "$dir/.cargo/config.toml"; and test -x "$program"
                $program complete -- $argv 2>/dev/null
                return
            end
        end
        set dir (string replace -r '/[^/]*$' '' -- $dir)
    end
    cargo xtask complete -- $argv 2>/dev/null
end
function __xtask_complete
    set -l words (commandline -opc)
    __xtask_ask $words[3..-1] (commandline -ct)
end
complete -c cargo -n __xtask_is_command -f -a '(__xtask_complete)'
