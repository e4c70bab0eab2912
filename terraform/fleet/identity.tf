# Who may do what. The owner is root on the machine, so whatever its service account may do, the owner may do.

locals {
  # On the project, to each machine's account.
  machine_roles = toset([
    "roles/logging.logWriter",
    "roles/monitoring.metricWriter",
  ])

  # As Google forms them. Known before the accounts exist, so that a plan shows who is given what.
  emails = {
    for name, account in google_service_account.workspaces : name => "${account.account_id}@${local.project}.iam.gserviceaccount.com"
  }

  # The one secret that a machine reads. None for private workspaces, where IAM decides who gets in.
  secret_suffix = { password = "password", google = "oauth-client" }
}

resource "google_service_account" "workspaces" {
  for_each = local.workspaces

  # At most 30 characters; a workspace's name alone may have 40.
  account_id   = length(each.key) <= 20 ? "workspace-${each.key}" : "workspace-${substr(each.key, 0, 13)}-${substr(sha256(each.key), 0, 6)}"
  display_name = "Workspace ${each.key}"
}

resource "google_project_iam_member" "machines" {
  for_each = {
    for pair in setproduct(keys(local.workspaces), local.machine_roles) : "${pair[0]} ${pair[1]}" => { name = pair[0], role = pair[1] }
  }

  project = local.project
  role    = each.value.role
  member  = "serviceAccount:${local.emails[each.value.name]}"
}

resource "google_storage_bucket_iam_member" "cache" {
  for_each = local.workspaces

  bucket = var.buckets.cache
  role   = "roles/storage.objectViewer"
  member = "serviceAccount:${local.emails[each.key]}"
}

# Containers only: xtask writes the versions through the API, so that no secret is in a state or a plan.
resource "google_secret_manager_secret" "logins" {
  for_each = local.public

  secret_id = "workspace-${each.key}-${local.secret_suffix[var.fleet.access.login]}"
  labels    = local.labels[each.key]

  replication {
    auto {}
  }
}

resource "google_secret_manager_secret_iam_member" "logins" {
  for_each = local.public

  secret_id = google_secret_manager_secret.logins[each.key].id
  role      = "roles/secretmanager.secretAccessor"
  member    = "serviceAccount:${local.emails[each.key]}"
}

# The owner's ways in beside the browser: IAP's tunnel to this one machine, and a login on it as root.

resource "google_iap_tunnel_instance_iam_member" "owners" {
  for_each = local.workspaces

  zone     = google_compute_instance.workspaces[each.key].zone
  instance = google_compute_instance.workspaces[each.key].name
  role     = "roles/iap.tunnelResourceAccessor"
  member   = "user:${each.value.owner}"
}

resource "google_project_iam_member" "owners" {
  for_each = local.workspaces

  project = local.project
  role    = "roles/compute.osAdminLogin"
  member  = "user:${each.value.owner}"

  condition {
    title       = "workspace-${each.key}"
    description = "On the machine ${each.key} and no other."
    expression  = "resource.type == 'compute.googleapis.com/Instance' && resource.name == 'projects/${local.project}/zones/${google_compute_instance.workspaces[each.key].zone}/instances/${each.key}'"
  }
}

# OS Login asks for it on machines that have a service account.
resource "google_service_account_iam_member" "owners" {
  for_each = local.workspaces

  service_account_id = "projects/${local.project}/serviceAccounts/${local.emails[each.key]}"
  role               = "roles/iam.serviceAccountUser"
  member             = "user:${each.value.owner}"
}
