output "workspaces" {
  description = "What there is of each workspace: `zone`, `address` and `url` (null if private), `private_address`, `service_account`, and `secret`, the name of the secret that the login reads (null if private)."
  value = {
    for name, instance in google_compute_instance.workspaces : name => {
      zone            = instance.zone
      address         = try(google_compute_address.workspaces[name].address, null)
      url             = local.is_public ? "https://${local.workspaces[name].domain}" : null
      private_address = instance.network_interface[0].network_ip
      service_account = local.emails[name]
      secret          = try(google_secret_manager_secret.logins[name].secret_id, null)
    }
  }
}
