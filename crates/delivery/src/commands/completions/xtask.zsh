# Completes `cargo xtask` in zsh, beside the completion that cargo has already.
autoload -Uz compinit && (( $+functions[compdef] )) || compinit
__xtask_previous=${_comps[cargo]:-_default}
# Asks the program that is built already, because Cargo would compile a changed one first.
__xtask_ask() {
    local dir=$PWD program
    while [[ -n $dir ]]; do
        for program in "$dir/target/debug/xtask" "$dir/xtask/target/debug/xtask"; do
            if [[ -f $dir/.cargo/config.toml && -x $program ]]; then
                "$program" complete -- "$@" 2>/dev/null
                return
            fi
        done
        dir=${dir%/*}
    done
    cargo xtask complete -- "$@" 2>/dev/null
}
__xtask_complete() {
    if [[ ${words[2]} == xtask && CURRENT -ge 3 ]]; then
        local -a found
        found=("${(@f)$(__xtask_ask "${(@)words[3,CURRENT]}")}")
        compadd -a found
    else
        "$__xtask_previous" "$@"
    fi
}
compdef __xtask_complete cargo
