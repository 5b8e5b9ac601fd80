# shellcheck shell=bash
# What a cluster keeps: certificates, tokens, and a kubeconfig for each who uses the API.

# Makes a certificate, signed by the cluster's authority, unless it is there: issue NAME SUBJECT EXTENSIONS
issue() {
	local name=$1 subject=$2 extensions=$3 folder=$CLUSTER_DIR/keys
	[[ ! -s $folder/$name.pem ]] || return 0
	openssl ecparam -name prime256v1 -genkey -noout -out "$folder/$name.key"
	openssl req -new -key "$folder/$name.key" -subj "$subject" -out "$folder/$name.csr"
	printf '%s\n' "$extensions" >"$folder/$name.ext"
	openssl x509 -req -in "$folder/$name.csr" -CA "$folder/ca.pem" -CAkey "$folder/ca.key" -CAcreateserial \
		-days 3650 -extfile "$folder/$name.ext" -out "$folder/$name.pem.new" 2>/dev/null
	mv "$folder/$name.pem.new" "$folder/$name.pem"
}

# Makes what is missing of the authority, the certificates and the tokens.
ensure_keys() {
	local folder=$CLUSTER_DIR/keys user group line
	mkdir -p "$folder"
	if [[ ! -s $folder/ca.pem ]]; then
		rm -f "$folder"/*
		openssl ecparam -name prime256v1 -genkey -noout -out "$folder/ca.key"
		openssl req -x509 -new -key "$folder/ca.key" -subj "/CN=emulated cluster $NAME" -days 3650 -out "$folder/ca.pem.new"
		mv "$folder/ca.pem.new" "$folder/ca.pem"
	fi
	issue api "/CN=kube-apiserver" "extendedKeyUsage=serverAuth
subjectAltName=DNS:localhost,DNS:kubernetes.default.svc,IP:127.0.0.1,IP:$GATEWAY,IP:$SERVICE_PREFIX.0.1"
	issue kubelet-client "/O=system:masters/CN=kube-apiserver-kubelet-client" "extendedKeyUsage=clientAuth"
	[[ -s $folder/service-accounts.key ]] || openssl ecparam -name prime256v1 -genkey -noout -out "$folder/service-accounts.key"
	[[ -s $folder/service-accounts.pem ]] || openssl ec -in "$folder/service-accounts.key" -pubout -out "$folder/service-accounts.pem" 2>/dev/null
	for line in admin:system:masters system:kube-controller-manager: system:kube-scheduler: system:kube-proxy: system:dns:; do
		# The name may hold colons; the group of admin does, too.
		case $line in
		admin:*) user=admin group=system:masters ;;
		*) user=${line%:} group='' ;;
		esac
		ensure_token "$user" "$group"
	done
	for ((line = 1; line <= MOST_NODES; line++)); do ensure_token "system:node:node-$line" system:nodes; done
}

# The token file is read once, when the API server starts: it has tokens for all nodes that there can be.
ensure_token() {
	local user=$1 group=$2 file=$CLUSTER_DIR/keys/tokens.csv
	[[ -z $(token_of "$user") ]] || return 0
	{
		cat "$file" 2>/dev/null || true
		echo "$(openssl rand -hex 20),$user,$user,\"$group\""
	} | write_file "$file"
}

token_of() { awk -F, -v user="$1" '$2 == user { print $1 }' "$CLUSTER_DIR/keys/tokens.csv" 2>/dev/null; }

# kubeconfig USER SERVER: prints what it takes to reach the API as a user.
kubeconfig() {
	cat <<-END
		apiVersion: v1
		kind: Config
		current-context: $NAME
		clusters:
		- name: $NAME
		  cluster: {server: "$2", certificate-authority-data: $(base64 -w0 "$CLUSTER_DIR/keys/ca.pem")}
		users:
		- name: $1
		  user: {token: $(token_of "$1")}
		contexts:
		- name: $NAME
		  context: {cluster: $NAME, user: "$1"}
	END
}
