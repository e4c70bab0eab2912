# Says in one line whether the GPUs work: driver, devices, CUDA, containers. If not, why
# and what mends it, with status 1. With --report the line also goes to $RUN/gpu, and what
# does not work to the login page and into terminals.
: "${SYSFS:=/sys}" "${CDI:=/var/run/cdi/nvidia-container-toolkit.json}" "${RUN:=/run/workspace}"
report=${1-}

say() {
  echo "GPU: $1"
  [ "$report" = --report ] || return 0
  mkdir --parents "$RUN"
  echo "$1" > "$RUN/gpu.new"
  mv "$RUN/gpu.new" "$RUN/gpu"
}

broken() {
  say "$1 $2"
  [ "$report" != --report ] || workspace-notice gpu "GPU: $1" "$2"
  exit 1
}

attached=0
for device in "$SYSFS"/bus/pci/devices/*; do
  # 3D and display controllers of NVIDIA's.
  if grep --quiet --no-messages 0x10de "$device/vendor" && grep --quiet --no-messages '^0x03' "$device/class"; then
    attached=$((attached + 1))
  fi
done
((attached > 0)) || broken "none is attached to this machine." "Choose a machine type with GPUs in fleet.toml, or image = \"base\"."

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

status=0
answer2=$(LD_LIBRARY_PATH=${GPU_LIBRARIES:-/run/opengl-driver/lib} gpu-run-kernel 2>&1) || status=$?
case $answer2 in
  *CUDA_ERROR_SYSTEM_NOT_READY*)
    broken "CUDA waits for the fabric manager." "\`systemctl status nvidia-fabricmanager\` says why it does not run."
    ;;
  *CUDA_ERROR_SYSTEM_DRIVER_MISMATCH*)
    broken "the running driver is older than its libraries, since the system was updated." "Restart the machine."
    ;;
esac
((status == 0)) || broken "CUDA fails: $(head --lines=1 <<< "$answer2")." "Restart the machine; if that does not help, show this to whoever looks after the fleet."

in_containers=$(jq '[.devices[].name] | length' "$CDI" 2> /dev/null || echo 0)
((in_containers > 0)) || broken "CUDA works, but containers get none." "\`sudo systemctl restart nvidia-container-toolkit-cdi-generator\`, then look at its journal."

model=$(head --lines=1 <<< "$answer" | sed 's/,.*//')
driver=$(head --lines=1 <<< "$answer" | sed 's/^[^,]*, *//; s/,.*//')
say "$seen x $model, driver $driver: CUDA works, also in containers."
[ "$report" != --report ] || workspace-notice gpu
