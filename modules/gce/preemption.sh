# Waits until Google takes this Spot machine back, or tells the owner that it does.
# https://cloud.google.com/compute/docs/instances/spot#preemption-process
#
# usage: workspace-preemption wait|tell
url="http://${GCE_METADATA_HOST:-169.254.169.254}/computeMetadata/v1/instance/preempted"

# ask SECONDS [QUERY]: prints TRUE or FALSE, and in the next line the ETag of that.
ask() {
  curl --silent --show-error --fail --noproxy '*' --max-time "$1" --header 'Metadata-Flavor: Google' \
    --write-out '\n%header{etag}' "$url${2:-}"
}

case $1 in
  wait)
    # Answered at once, unless it is what is asked about.
    etag=0
    while :; do
      if ! answer=$(ask 330 "?wait_for_change=true&timeout_sec=300&last_etag=$etag"); then
        sleep 5
        continue
      fi
      [ "${answer%%$'\n'*}" != TRUE ] || exit 0
      etag=${answer##*$'\n'}
    done
    ;;

  tell)
    # At any other shutdown, or when the unit is restarted, there is nothing to tell.
    answer=$(ask 3) || exit 0
    [ "${answer%%$'\n'*}" = TRUE ] || exit 0
    headline="Google takes this machine back: it stops within 30 seconds."
    sentences="Save what is open. It is a Spot machine: files in your home stay, all that runs ends."
    mend="Whoever looks after the fleet starts it again with cargo xtask start $HOSTNAME, or, if there is no room for it now, with cargo xtask move $HOSTNAME."
    echo "$headline" >&2
    workspace-notice preempted "$headline" "$sentences" "$mend"
    # The terminals that are open. wall(1) knows of sessions alone, and the editor's terminals are none.
    # One that nobody reads from holds up no other.
    for terminal in /dev/pts/[0-9]*; do
      printf '\r\n%s\r\n' "*** $headline" "$sentences" "$mend" | timeout 2 tee "$terminal" > /dev/null 2>&1 &
    done
    wait
    # While there is time. Whether all is unmounted in the end depends on what has to stop before.
    timeout 5 sync || true
    # Time to save.
    sleep 10
    ;;
esac
