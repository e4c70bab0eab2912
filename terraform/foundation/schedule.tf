# Compute Engine stops machines on a schedule by an account of its own, which may do that only if told so. The schedule
# itself is made by the root `fleet`; the grant is here because a deployer may not give anybody this role.
# https://cloud.google.com/compute/docs/instances/schedule-instance-start-stop#service_agent_required_roles

data "google_project" "this" {
  count = var.stop_schedule == null ? 0 : 1

  project_id = local.project
}

resource "google_project_iam_member" "compute_engine" {
  # checkov:skip=CKV_GCP_42: The account is Google's own, and this is the role that Google documents for it.
  count = var.stop_schedule == null ? 0 : 1

  project = local.project
  role    = "roles/compute.instanceAdmin.v1"
  member  = "serviceAccount:service-${data.google_project.this[0].number}@compute-system.iam.gserviceaccount.com"

  # The account comes with the API.
  depends_on = [google_project_service.apis]
}
