# Completion of spower in bash 4.4 and later: commands, options, zones and jobs.
# Install as /usr/share/bash-completion/completions/spower, or source it.

_spower() {
    local kind line
    COMPREPLY=()
    while IFS=, read -r kind line; do
        case $kind in
            plain) COMPREPLY+=("$line") ;;
            file) compopt -o default ;;
            dir) compopt -o dirnames ;;
        esac
    done < <(COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD=$COMP_CWORD _SPOWER_COMPLETE=bash_complete "$1" 2>/dev/null)
}

complete -o nosort -F _spower spower
