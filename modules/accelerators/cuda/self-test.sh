# Says in one line whether the GPUs work. If not, why and what mends it, with status 1.
# usage: workspace-gpu [--steps | --report]
#
# --steps   then also what each step found: devices, driver, CUDA, a kernel, containers
# --report  the line also goes to $RUN/gpu, onto the pages, and what does not work into terminals
: "${SYSFS:=/sys}" "${CDI:=/var/run/cdi/nvidia-container-toolkit.json}" "${RUN:=/run/workspace}"
option=${1-}
case $option in
  "" | --steps | --report) ;;
  *)
    echo "workspace-gpu: \"$option\" is no option. Write --steps, --report or nothing." >&2
    exit 2
    ;;
esac

declare -A found
step=attached

say() {
  echo "GPU: $1"
  case $option in
    --steps)
      echo
      for name in attached driver CUDA kernel containers; do
        printf '%-10s  %s\n' "$name" "${found[$name]-not tried}"
      done
      ;;
    --report)
      mkdir --parents "$RUN"
      echo "$1" > "$RUN/gpu.new"
      mv "$RUN/gpu.new" "$RUN/gpu"
      ;;
  esac
}

broken() {
  found[$step]=fails
  say "$1 $2"
  [ "$option" != --report ] || workspace-notice gpu "GPU: $1" "$2"
  exit 1
}

addresses=()
for device in "$SYSFS"/bus/pci/devices/*; do
  # 3D and display controllers of NVIDIA's.
  if grep --quiet --no-messages 0x10de "$device/vendor" && grep --quiet --no-messages '^0x03' "$device/class"; then
    device=${device##*/}
    # As lspci writes it.
    addresses+=("${device#0000:}")
  fi
done
attached=${#addresses[@]}
((attached > 0)) || broken "none is attached to this machine." "Choose a machine type with GPUs in fleet.toml, or image = \"base\"."
found[attached]="$attached, at ${addresses[*]}"

step=driver
status=0
answer=$(nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>&1) || status=$?
case $answer in
  *"Driver/library version mismatch"*)
    broken "the running driver is older than its programs, since the system was updated." "Restart the machine."
    ;;
  *"No devices were found"*)
    broken "the driver finds none, though $attached are attached." "Stop the machine and start it again; if that does not help, \`journalctl -k -g NVRM\` says why."
    ;;
  *"GPU is lost"* | *"fallen off the bus"* | *"Unable to determine the device handle"*)
    broken "one has stopped answering." "Save your work, then stop the machine and start it again: it gets another one."
    ;;
  *"couldn't communicate with the NVIDIA driver"*)
    broken "the driver is not loaded." "\`journalctl -k -g 'nvidia|NVRM'\` says why; after an update restart the machine."
    ;;
esac
((status == 0)) || broken "nvidia-smi fails: $(head --lines=1 <<< "$answer")." "Restart the machine; if that does not help, show this to whoever looks after the fleet."

seen=$(grep --count . <<< "$answer" || true)
((seen == attached)) || broken "the driver finds $seen of $attached." "Stop the machine and start it again."
IFS=, read -r model driver memory <<< "$answer"
driver=${driver# }
found[driver]="$driver, finds $seen x $model with${memory}"

step=CUDA
status=0
# As the owner's programs may be told to see none of them.
answer=$(env --unset=CUDA_VISIBLE_DEVICES LD_LIBRARY_PATH="${GPU_LIBRARIES:-/run/opengl-driver/lib}" gpu-run-kernel 2>&1) || status=$?
if [[ $answer =~ ^CUDA\ ([0-9.]+) ]]; then
  found[CUDA]=${BASH_REMATCH[1]}
  step=kernel
fi
reason=$(tail --lines=1 <<< "$answer")
verdict="CUDA works, also in containers"
case $status,$reason in
  0,*)
    found[kernel]="ran on each, with the right result"
    ;;
  *CUDA_ERROR_SYSTEM_NOT_READY*)
    broken "CUDA waits for the fabric manager." "\`systemctl status nvidia-fabricmanager\` says why it does not run."
    ;;
  *CUDA_ERROR_SYSTEM_DRIVER_MISMATCH*)
    broken "the running driver is older than its libraries, since the system was updated." "Restart the machine."
    ;;
  *)
    # Who trains a model takes all of the memory, or the GPU for one program alone, and is
    # not to be told that it is broken.
    programs=
    case $reason in
      *CUDA_ERROR_OUT_OF_MEMORY* | *CUDA_ERROR_DEVICE_UNAVAILABLE*)
        programs=$(nvidia-smi --query-compute-apps=pid --format=csv,noheader 2>&1) || programs=
        ;;
    esac
    [[ $programs =~ [0-9] ]] ||
      broken "CUDA fails: ${reason:-gpu-run-kernel ended with status $status}." "Restart the machine; if that does not help, show this to whoever looks after the fleet."
    found[kernel]="none was run, as programs leave no room for one"
    verdict="in use, with no room for a test; containers get it too"
    ;;
esac

step=containers
names=$(jq --raw-output '[.kind + "=" + .devices[].name] | join(", ")' "$CDI" 2> /dev/null || true)
[ "$names" ] || broken "CUDA works, but containers get none." "\`sudo systemctl restart nvidia-container-toolkit-cdi-generator\`, then look at its journal."
found[containers]=$names

say "$seen x $model, driver $driver: $verdict."
# Strangers read the pages: which driver it is would only help them.
[ "$option" != --report ] || workspace-notice --good gpu "GPU: $seen x $model:" "$verdict."
