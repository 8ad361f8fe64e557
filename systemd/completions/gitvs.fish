# Completion of gitvs in fish; gitvs itself says what can follow.
function __gitvs_complete
    set -l answer (env _GITVS_COMPLETE=fish_complete COMP_WORDS=(commandline -cp | string collect) COMP_CWORD=(commandline -t | string collect) /usr/local/bin/gitvs 2>/dev/null)
    for line in $answer
        set -l parts (string split -m 1 "," -- $line)
        switch $parts[1]
            case dir
                __fish_complete_directories (commandline -t)
            case file
                __fish_complete_path (commandline -t)
            case plain
                echo $parts[2]
        end
    end
end
complete --no-files --command gitvs --arguments "(__gitvs_complete)"
