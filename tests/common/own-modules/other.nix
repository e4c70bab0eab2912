{
  environment.etc.own.text = "other";
}
