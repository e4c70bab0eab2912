# Deployers apply the roots `homes` and `fleet` and push images. On the project they can grant no role but those that
# `fleet` grants; a change of this file takes an owner of the project. Trust them all the same: who may make machines and
# service accounts, and act as these, can reach whatever an account of the project can.

locals {
  deployer_roles = toset([
    "roles/compute.instanceAdmin.v1",
    "roles/compute.networkAdmin",
    "roles/compute.securityAdmin",
    "roles/iam.serviceAccountAdmin",
    "roles/iam.serviceAccountUser",
    "roles/iap.admin",
    "roles/secretmanager.admin",
    "roles/servicemanagement.admin",
    "roles/serviceusage.serviceUsageAdmin",
    # Buckets' names are shared by everyone: xtask looks whether the three are this project's.
    "roles/storage.bucketViewer",
  ])

  # What the root `fleet` grants on the project.
  grantable_roles = [
    "roles/compute.osAdminLogin",
    "roles/logging.logWriter",
    "roles/monitoring.metricWriter",
  ]
}

resource "google_project_iam_member" "deployers" {
  # checkov:skip=CKV_GCP_41: A deployer attaches each workspace's own service account to its machine; they are made later, by the root `fleet`.
  # checkov:skip=CKV_GCP_49: A deployer makes and removes the workspaces' service accounts, which are all the project has of ours.
  for_each = {
    for pair in setproduct(var.deployers, local.deployer_roles) : "${pair[0]} ${pair[1]}" => { member = pair[0], role = pair[1] }
  }

  project = local.project
  role    = each.value.role
  member  = each.value.member
}

resource "google_project_iam_member" "deployers_grant" {
  for_each = toset(var.deployers)

  project = local.project
  role    = "roles/resourcemanager.projectIamAdmin"
  member  = each.key

  # https://cloud.google.com/iam/docs/setting-limits-on-granting-roles
  condition {
    title       = "only-roles-of-workspaces"
    description = "Grants and revokes the roles of machines and their owners, and no other."
    expression  = "api.getAttribute('iam.googleapis.com/modifiedGrantsByRole', []).hasOnly([${join(", ", [for role in local.grantable_roles : "'${role}'"])}])"
  }
}

resource "google_storage_bucket_iam_member" "deployers" {
  for_each = {
    for pair in setproduct(var.deployers, keys(var.bucket_names)) : "${pair[0]} ${pair[1]}" => { member = pair[0], bucket = pair[1] }
  }

  bucket = var.bucket_names[each.value.bucket]
  role   = "roles/storage.admin"
  member = each.value.member

  depends_on = [google_storage_bucket.workspaces]
}
