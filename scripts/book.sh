#!/usr/bin/env bash
# book.sh: builds the book of docs/ into target/book. mdBook, of the version below, is built into target/tools the
# first time.
#
# A book has only what is in its directory. So it is built from a copy of docs/, in which links that leave
# docs/ lead to `source/`: a copy of just the files that are linked to, by their paths in the project. Those of them that are
# pages are chapters (docs/SUMMARY.md names them as ../charts/README.md). Then every link of what was built is looked after.
set -euo pipefail
cd "$(dirname "$0")/.."

version=0.5.4
tools=$PWD/target/tools
stage=$PWD/target/book-source
book=$PWD/target/book

install_mdbook() {
    [ "$("$tools/bin/mdbook" --version 2>/dev/null)" != "mdbook v$version" ] || return 0
    echo "Building mdBook $version; this takes some minutes, once."
    # Neither its server nor its watcher are needed; it runs for a second, so it need not be fast.
    cargo install mdbook --version "$version" --locked --debug --no-default-features --features search \
        --root "$tools" --target-dir "$tools/build"
}

# The files outside of docs/ that pages link to, by their paths in the project.
linked() {
    local page
    while read -r page; do
        { grep -oE '\]\([^)#: ]+' "$page" || true; } | cut -c 3- | while read -r link; do
            realpath -m --relative-to=. "$(dirname "$page")/$link"
        done
    done < <(find docs -name '*.md'; printf '%s\n' charts/README.md kind-e2e/README.md) | grep -v '^docs/' | sort -u
}

copy() {
    local file depth up
    rm -rf "$stage" "$book"
    mkdir -p "$stage"
    cp -r docs "$stage/src"
    mv "$stage/src/book.toml" "$stage/"
    sed -i 's/^src = .*/src = "src"/' "$stage/book.toml"
    while read -r file; do
        mkdir -p "$stage/src/source/$(dirname "$file")"
        cp "$file" "$stage/src/source/$file"
    done < <(linked)
    # As many times up as leave docs/ from where the page is.
    for depth in 1 2 3; do
        up=$(printf '../%.0s' $(seq "$depth"))
        find "$stage/src" -path "$stage/src/source" -prune -o -mindepth "$depth" -maxdepth "$depth" -name '*.md' \
            -exec sed -i "s#](${up//./\\.}#](${up#../}source/#g" {} +
    done
    find "$stage/src/source" -name '*.md' -exec sed -i 's#](\.\./docs/#](../../#g' {} +
    # mdBook makes README.md the index of its directory, but not the links to it.
    find "$stage/src" -name '*.md' ! -name SUMMARY.md -exec sed -i -E 's#(\]\([^):]*)README\.md#\1index.md#g' {} +
}

# Every relative link of a built page leads to a file, and every anchor to an id. Prints what does not.
dead_links() (
    cd "$book"
    # 404.html is served anywhere; print.html has all pages in one.
    while read -r page; do
        while read -r link; do
            file=${link%%#*} anchor=
            [ "$file" = "$link" ] || anchor=${link#*#}
            target=$page
            [ -z "$file" ] || target=$(dirname "$page")/$file
            if [ ! -f "$target" ]; then
                echo "$page: $link"
            elif [ -n "$anchor" ] && ! grep -qF "id=\"$anchor\"" "$target"; then
                echo "$page: $link: no such heading"
            fi
        done < <({ grep -oE '(href|src)="[^"]+"' "$page" || true; } | sed -E 's/^[a-z]+="//; s/"$//' | grep -vE '^[a-z]+:|^//' | sort -u)
    done < <(find . -name '*.html' ! -name 404.html ! -name print.html ! -name 'toc*.html')
)

# The headings that alerts lead to (charts/vipgate/files/alerts.yaml).
dead_runbooks() {
    local link file
    sed -n 's#^ *runbook_url: https://vipgate.dev/##p' charts/vipgate/files/alerts.yaml | while read -r link; do
        file=$book/${link%%#*}
        grep -qsF "id=\"${link#*#}\"" "$file" || echo "alerts.yaml: $link"
    done
}

install_mdbook
copy
"$tools/bin/mdbook" build --dest-dir "$book" "$stage"
dead=$(dead_links; dead_runbooks)
if [ -n "$dead" ]; then
    printf 'links of the book that lead nowhere:\n%s\n' "$dead" >&2
    exit 1
fi
echo "The book is in target/book: $(find "$book" -name '*.html' | wc -l) pages, begin with index.html."
