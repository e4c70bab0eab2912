# A limit that holds against the owner, who is root on the machine, has to be enforced from outside. (The stop of an
# unused machine is the machine's own courtesy and needs nothing here.) Compute Engine's account, which does the
# stopping, has its role from the root `foundation`.

resource "google_compute_resource_policy" "stop" {
  count = var.stop_schedule == null ? 0 : 1

  # A policy cannot be changed, and not be deleted while machines have it: they are given the next one first.
  name        = "workspaces-stop-${substr(sha256(jsonencode(var.stop_schedule)), 0, 6)}"
  region      = var.fleet.google.region
  description = "Stops all workspaces."

  instance_schedule_policy {
    time_zone = var.stop_schedule.time_zone

    vm_stop_schedule {
      schedule = var.stop_schedule.cron
    }
  }

  lifecycle {
    create_before_destroy = true
  }
}
