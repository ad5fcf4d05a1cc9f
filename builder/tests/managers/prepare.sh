# Runs once in a Debian tree that has the package managers of others: makes a key, three tiny packages for rpm and for
# pacman, and signed repositories of both below /srv. `tiny` needs `tinier`.

export HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C
mkdir -p /srv/rpm /srv/pacman /work /var/lib/pacman /var/cache/pacman/pkg
cd /work
gpg --batch --quiet --passphrase '' --quick-gen-key tiny@example.org rsa3072 sign never
gpg --armor --export tiny@example.org >/srv/key.asc
for name in tiny tinier unwanted; do
    requires=; depends=
    if [ $name = tiny ]; then requires='Requires: tinier'; depends=tinier; fi
    cat >$name.spec <<SPEC
Name: $name
Version: 1
Release: 1
Summary: A word
License: none
BuildArch: noarch
$requires
%description
A word.
%install
mkdir -p %{buildroot}/usr/share/$name
echo $name >%{buildroot}/usr/share/$name/word
%files
/usr/share/$name/word
SPEC
    rpmbuild -bb --define '_rpmdir /srv/rpm' --define "_topdir /work/rpm" $name.spec
    mkdir -p $name
    cat >$name/PKGBUILD <<PKG
pkgname=$name
pkgver=1
pkgrel=1
pkgdesc='A word'
arch=(any)
options=('!strip')
depends=($depends)
package() { mkdir -p "\$pkgdir/usr/share/$name"; echo $name >"\$pkgdir/usr/share/$name/word"; }
PKG
    chown -R nobody $name
    (cd $name && setpriv --reuid=nobody --clear-groups env HOME=/work/$name PACKAGER='Tiny <tiny@example.org>' makepkg --nodeps --nosign)
    cp $name/*.pkg.tar* /srv/pacman
done
rpmsign --define '_gpg_name tiny@example.org' --define '__gpg /usr/bin/gpg' --addsign /srv/rpm/noarch/*.rpm
createrepo_c --quiet /srv/rpm
gpg --batch --quiet --armor --detach-sign /srv/rpm/repodata/repomd.xml
cp /srv/key.asc /srv/rpm/repodata/repomd.xml.key
cd /srv/pacman
for package in *.pkg.tar.gz; do gpg --batch --quiet --detach-sign $package; done
repo-add --sign --quiet tiny.db.tar.gz *.pkg.tar.gz
printf '[options]\nArchitecture = auto\nSigLevel = Required\n[tiny]\nServer = file:///srv/pacman\n' >/etc/pacman.conf
pacman-key --init
pacman-key --add /srv/key.asc
pacman-key --lsign-key tiny@example.org
rm -rf /work /root/.gnupg
