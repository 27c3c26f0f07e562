use super::*;

#[test]
fn secrets_are_hidden_however_the_url_is_written() {
    for (url, want) in [
        ("/mnt/store", "/mnt/store"),
        ("../a:b@c", "../a:b@c"),
        ("file:///mnt/a:b@c", "file:///mnt/a:b@c"),
        ("s3://bucket/a", "s3://bucket/a"),
        ("https://host/x", "https://host/x"),
        ("https://u:pw@host/x", "https://u:***@host/x"),
        ("HTTPS://u:pw@host/x", "HTTPS://u:***@host/x"),
        ("webdav://u:pw@host:80/x", "webdav://u:***@host:80/x"),
        ("https://u:p@w@host/x", "https://u:***@host/x"),
        ("https://u:p/w@host/x", "https://u:***@host/x"),
        ("https://u:p?w#@host/x", "https://u:***@host/x"),
        ("https://u:p@ss/w@host/x", "https://u:***@host/x"),
        ("https://u:8080@host/x", "https://u:***@host/x"),
        ("https://u:p\\w@host/x", "https://u:***@host/x"),
        ("https://:pw@host/x", "https://:***@host/x"),
        ("https://me@corp.com:pw@host/x", "https://me@corp.com:***@host/x"),
        ("https://u:pw@[::1]:8/x", "https://u:***@[::1]:8/x"),
        ("https://[::1]:8/x@y", "https://[::1]:8/x@y"),
        ("https://host:8080/files/me@example.org", "https://host:8080/files/me@example.org"),
        ("https://TOKEN@host/x", "https://***@host/x"),
        ("https://TOKEN:@host/x", "https://***@host/x"),
        ("https://TOKEN:x-oauth-basic@host/x", "https://***@host/x"),
        ("https://ghp_abc:pw@host/x", "https://***@host/x"),
        ("webdavs://me@host/x", "webdavs://me@host/x"),
        ("webdavs://0123456789abcdef0123@host/x", "webdavs://***@host/x"),
        ("ssh://git@host/x", "ssh://git@host/x"),
        ("git@host:x/y@v1", "git@host:x/y@v1"),
        ("u:pw@host:x", "u:***@host:x"),
        ("https:/u:pw@host/x", "https:***@host/x"),
        ("https://host/x?sig=abc&se=1", "https://host/x?***"),
        ("s3://b/x?X-Amz-Signature=abc", "s3://b/x?***"),
        ("https://host/x#access_token=abc", "https://host/x#***"),
        ("evil::https://u:pw@host/x", "evil::https://u:***@host/x"),
        ("https://proxy/https://u:pw@host/x", "https://proxy/https://u:***@host/x"),
        ("webdav:///u:pw@host/x", "webdav:///u:***@host/x"),
        ("https:////TOKEN@host/x", "https:////***@host/x"),
        ("file:///u:p@h", "file:///u:p@h"),
        ("u:pw@https://host/x", "***@https://host/x"),
        ("", ""),
        ("://", "://"),
    ] {
        let parsed = Url::from(url);
        assert_eq!(parsed.to_string(), want, "{url}");
        assert_eq!(format!("{parsed:?}"), format!("{want:?}"), "{url}");
    }
}

#[test]
fn a_url_knows_whether_it_holds_a_secret() {
    for (url, want) in [
        ("https://u:pw@host/x", Some("https://u@host/x")),
        ("https://ghp_abc@host/x", Some("https://host/x")),
        ("https://org@dev.azure.com/org/x", None),
        ("https://host/x?private_token=abc", Some("https://host/x")),
        ("webdav:///u:pw@host/x", Some("webdav:///u@host/x")),
        ("https://host/x?p=a", None),
        ("ssh://git@host/x", None),
        ("git@host:x", None),
    ] {
        let url = Url::from(url);
        let got = url.has_secret().then(|| url.without_secret());
        assert_eq!(got.as_ref().map(Url::raw), want, "{url}");
    }
}

#[test]
fn words_of_other_programs_are_scrubbed() {
    let url = Url::from("https://u:p%40ss'w@host/x?sig=SIGNED");
    for (text, want) in [
        (
            "fatal: unable to access 'https://u:p%40ss'w@host/x?sig=SIGNED': no",
            "fatal: unable to access 'https://u:***@host/x?***': no",
        ),
        ("password p@ss'w, signature SIGNED", "password ***, signature ***"),
        ("see http://a:b@c/d, and http://e/f?g=h.", "see http://a:***@c/d, and http://e/f?***"),
        ("to http://[::1]:80/x?a=b failed", "to http://[::1]:80/x?*** failed"),
        ("plain", "plain"),
        ("é://u:p@h é", "é://u:***@h é"),
    ] {
        assert_eq!(url.scrub(text), want);
    }
}

#[test]
fn hosts_that_are_options_are_seen() {
    for (url, is_option) in [
        ("ssh://-oProxyCommand=x/y", true),
        ("ssh://u@-oProxyCommand=x/y", true),
        ("ssh://-oX@host/y", true),
        ("SSH://%2DoX/y", true),
        ("ssh://u:p@-oX/y", true),
        ("ssh://a:b@h/@-oX", true),
        ("git+ssh://[-oX]/y", true),
        ("ssh:// -oX/y", true),
        ("-oX@host:path", true),
        ("u@-oX:path", true),
        ("host:-x", true),
        ("[-oX:22]:path", true),
        ("[host:22]:-x", true),
        ("s3://-b/x", true),
        ("ssh://host/-x", false),
        ("git@host:x-y", false),
        ("file://-x", false),
        ("../-x", false),
        ("https://my-host/x", false),
        ("c:-x", false),
    ] {
        assert_eq!(Url::from(url).option().is_some(), is_option, "{url}");
    }
}

#[test]
fn credentials_that_a_server_repeats_are_hidden() {
    let url = Url::from("https://u:s%2Fcr3t@host/x");
    let basic = BASE64.encode("u:s/cr3t");
    for (text, want) in [
        (format!("403 for Basic {basic}."), "403 for Basic ***."),
        (format!("403 for <{basic}>"), "403 for <***>"),
        (format!("remote: authorization=basic {}", BASE64.encode("other:pw")), "remote: authorization=basic ***"),
        ("Bearer eyJhbGciOi.JIUzI1NiJ9.x, é".to_string(), "Bearer ***, é"),
        ("basic authentication, bearer of news".to_string(), "basic authentication, bearer of news"),
    ] {
        assert_eq!(url.scrub(&text), want, "{text}");
    }
}

#[test]
fn users_and_hosts_of_ssh_are_plain_names() {
    for (url, want) in [
        ("ssh://git@host:22/x", None),
        ("ssh://[::1]:22/x", None),
        ("git@host:x y/z", None),
        ("file:///a b/c", None),
        ("/mnt/a b", None),
        ("https://u:p!$w@host/x", None),
        ("https://u:p%20w@host/x", None),
        ("ssh://$(touch${IFS}x)@host/x", Some('$')),
        ("git+ssh://u@h;x/y", Some(';')),
        ("ssh://%24%28x%29@h/y", Some('$')),
        ("ssh://me@[fe80::1%25eth0]/y", None),
        ("`x`@host:y", Some('`')),
        ("ssh://a b@host/x", Some(' ')),
        ("https://ho\nst/x", Some('\n')),
    ] {
        assert_eq!(Url::from(url).invalid_name_character(), want, "{url}");
    }
}
