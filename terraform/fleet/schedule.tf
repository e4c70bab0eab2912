# A limit that holds against the owner, who is root on the machine, has to be enforced from outside. (The stop of an
# unused machine is the machine's own courtesy and needs nothing here.)

data "google_project" "this" {
  count = var.stop_schedule == null ? 0 : 1

  project_id = local.project
}

# Compute Engine stops the machines by an account of its own, which may do that only if told so.
# https://cloud.google.com/compute/docs/instances/schedule-instance-start-stop#service_agent_required_roles
resource "google_project_iam_member" "compute_engine" {
  # checkov:skip=CKV_GCP_42: The account is Google's own, and this is the role that Google documents for it.
  count = var.stop_schedule == null ? 0 : 1

  project = local.project
  role    = "roles/compute.instanceAdmin.v1"
  member  = "serviceAccount:service-${data.google_project.this[0].number}@compute-system.iam.gserviceaccount.com"
}

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

  depends_on = [google_project_iam_member.compute_engine]

  lifecycle {
    create_before_destroy = true
  }
}
