# spn-native.bash - completion for bash. SPDX-License-Identifier: Apache-2.0
#
# Commands and options come from the program itself, so they are always those of the version in use.

_spn_native() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
    local program=${COMP_WORDS[0]} command=${COMP_WORDS[1]} name brief value help
    COMPREPLY=()
    if [ "$COMP_CWORD" -eq 1 ]; then
        mapfile -t COMPREPLY < <(compgen -W "$("$program" --help-commands 2>/dev/null | cut -f1) --help --version" -- "$word")
        return
    fi
    if [ "$command" = help ]; then
        mapfile -t COMPREPLY < <(compgen -W "$("$program" --help-commands 2>/dev/null | cut -f1)" -- "$word")
        return
    fi
    # The value of an option: its choices, or a file.
    while IFS=$'\x1f' read -r name brief value help; do
        if [ -n "$value" ] && { [ "$before" = "$name" ] || { [ -n "$brief" ] && [ "$before" = "$brief" ]; }; }; then
            case $value in
            *'|'*) mapfile -t COMPREPLY < <(compgen -W "${value//|/ }" -- "$word") ;;
            FILE | MODEL | DIR) mapfile -t COMPREPLY < <(compgen -f -- "$word") ;;
            esac
            return
        fi
    done < <("$program" "$command" --help-options 2>/dev/null | tr '\t' '\037')
    if [[ $word == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$("$program" "$command" --help-options 2>/dev/null | cut -f1)" -- "$word")
        return
    fi
    # A model: a file, the demo, or one of the store.
    mapfile -t COMPREPLY < <(compgen -f -- "$word"
        compgen -W "demo $("$program" list --json 2>/dev/null |
            sed -n 's/.*"name": *"\([^"]*\)".*/\1/p')" -- "$word")
}
complete -o filenames -o bashdefault -F _spn_native spn-native
