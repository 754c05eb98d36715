"""What the corpus of scripts/corpus.py is made of: packages of Debian 12, and where in them music and speech are."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Stated:
    """What a copyright file in free text says of the audio, and words in it that show it still says so."""

    licence: str
    author: str
    evidence: str


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a package keeps music or speech: under `root`, the paths (without suffix) that match `pattern`.

    `origin` is what its copyright file calls `root`. A pk3 archive is a folder here.
    """

    package: str
    kind: str
    root: str
    pattern: str = "(?P<track>.+)"
    origin: str = ""
    stated: Stated | None = None


def _music(package: str, root: str, *, origin: str = "", stated: Stated | None = None) -> Source:
    return Source(package=package, kind="music", root=root, origin=origin, stated=stated)


def _speech(package: str, root: str, pattern: str, *, origin: str = "", stated: Stated | None = None) -> Source:
    return Source(package=package, kind="speech", root=root, pattern=pattern, origin=origin, stated=stated)


_GAMES = "usr/share/games/"
_VOICES = "(?P<voice>[^/]+)/(?P<track>.+)"
_FISH = "(?P<track>.+/(?P<voice>cs|nl)/.+)"
_HEDGE = "share/hedgewars/Data/Sounds/"
_STAMPS = "(?P<track>.+)_desc(_(?P<voice>[a-z]{2}))?"
_GPL = "General Public License version 2 or at your option any later version"
_WESNOTH = Stated("GPL-2+", "David White and the Battle for Wesnoth contributors", _GPL)
_NEXUIZ = Stated("GPL-2+", "Alientrap, Lee Vermeulen", "either version 2 of the License, or (at your option) any later")
_MCCRACKEN = Stated("CC-BY-SA-3.0", "Max McCracken", "in the title of this License: Attribution, ShareAlike.")
_SECTOID = Stated("Expat", "Carlos Viola Iborra", "Permission is hereby granted, free of charge")
_MULDJORD = Stated("CC-BY-SA-3.0", "El Senator (Muldjord)", "Creative Commons Attribution ShareAlike licence 3.0")
_FILLETS = Stated("GPL-2", "ALTAR interactive and the Fish Fillets NG authors", "version 2 dated June, 1991")
SOURCES = (
    _music("wesnoth-1.16-music", f"{_GAMES}wesnoth/1.16/data/core/music/", stated=_WESNOTH),
    _music("warzone2100-music", f"{_GAMES}warzone2100/music/"),
    _music("nexuiz-music", f"{_GAMES}nexuiz/data/music.pk3/sound/cdtracks/", stated=_NEXUIZ),
    _music("singularity-music", f"{_GAMES}singularity/music/", stated=_MCCRACKEN),
    _music("hyperrogue-music", "usr/share/hyperrogue/music/", origin="music/"),
    _music("fretsonfire-songs-sectoid", f"{_GAMES}fretsonfire/data/songs/sectoid/", stated=_SECTOID),
    _music("fretsonfire-songs-muldjord", f"{_GAMES}fretsonfire/data/songs/muldjord/", stated=_MULDJORD),
    _music("ufoai-music", f"{_GAMES}ufoai/base/0music.pk3/music/", origin="base/music/"),
    _music("colobot-common-sounds", f"{_GAMES}colobot/music/"),
    _music("planetblupi-music-ogg", "usr/share/planetblupi/music/"),
    _music("marsshooter-data", f"{_GAMES}marsshooter/audio/music/", origin="data/audio/music/"),
    _music("hedgewars-data", f"{_GAMES}hedgewars/Data/Music/", origin="share/hedgewars/Data/Music/"),
    _speech("hedgewars-data", f"{_GAMES}hedgewars/Data/Sounds/", f"voices/{_VOICES}", origin=_HEDGE),
    _speech("klettres-data", "usr/share/klettres/", _VOICES),
    _speech("ktuberling-data", "usr/share/ktuberling/sounds/", _VOICES),
    _speech("gcin-voice", "usr/share/gcin-voice/ogg/", "(?P<track>[^/]+)/(?P<voice>[35])"),
    _speech("fillets-ng-data-cs", f"{_GAMES}fillets-ng/sound/", _FISH, stated=_FILLETS),
    _speech("fillets-ng-data-nl", f"{_GAMES}fillets-ng/sound/", _FISH, stated=_FILLETS),
    _speech("tuxpaint-stamps-default", "usr/share/tuxpaint/stamps/", _STAMPS),
)
