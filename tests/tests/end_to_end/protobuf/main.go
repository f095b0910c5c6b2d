// Kubernetes' own types and serializers, as the other side of a comparison.
//
//	check fill   prints an object of every kind with all of its fields, in JSON and in protobuf
//	check turn   reads objects in both forms, a line of JSON each, and prints each as the other
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"reflect"
	"sort"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes/scheme"
	metrics "k8s.io/metrics/pkg/apis/metrics/v1beta1"
	kjson "sigs.k8s.io/json"
)

// An object in both forms; in an answer, each is made of the other one of the question.
type forms struct {
	APIVersion string          `json:"apiVersion"`
	Kind       string          `json:"kind"`
	JSON       json.RawMessage `json:"json,omitempty"`
	Protobuf   []byte          `json:"protobuf,omitempty"`
	Error      string          `json:"error,omitempty"`
}

var serializer = protobuf.NewSerializer(scheme.Scheme, scheme.Scheme)

func main() {
	for _, add := range []func(*runtime.Scheme) error{metav1.AddMetaToScheme, metrics.AddToScheme} {
		if err := add(scheme.Scheme); err != nil {
			log.Fatal(err)
		}
	}
	switch os.Args[1] {
	case "fill":
		fillAll()
	case "turn":
		turnAll()
	default:
		log.Fatalf("%s is neither fill nor turn", os.Args[1])
	}
}

func fillAll() {
	kinds := []schema.GroupVersionKind{}
	for kind := range scheme.Scheme.AllKnownTypes() {
		if kind.Version != runtime.APIVersionInternal {
			kinds = append(kinds, kind)
		}
	}
	sort.Slice(kinds, func(a, b int) bool { return kinds[a].String() < kinds[b].String() })
	out := json.NewEncoder(os.Stdout)
	for _, kind := range kinds {
		object, err := scheme.Scheme.New(kind)
		if err != nil {
			log.Fatal(err)
		}
		filler := filler{}
		filler.fill(reflect.ValueOf(object).Elem())
		object.GetObjectKind().SetGroupVersionKind(kind)
		whole := forms{APIVersion: kind.GroupVersion().String(), Kind: kind.Kind}
		whole.JSON, whole.Protobuf, err = written(object)
		if err != nil {
			whole.Error = err.Error()
		}
		if err := out.Encode(whole); err != nil {
			log.Fatal(err)
		}
	}
}

func written(object runtime.Object) (json.RawMessage, []byte, error) {
	text, err := json.Marshal(object)
	if err != nil {
		return nil, nil, err
	}
	var message bytes.Buffer
	err = serializer.Encode(object, &message)
	return text, message.Bytes(), err
}

// Gives every field a value, each another one. A type within itself is left empty.
type filler struct {
	count int
	above []reflect.Type
}

func (f *filler) fill(value reflect.Value) {
	f.count++
	n := f.count
	moment := time.Date(2026, 1, 2, 3, 4, n%60, 0, time.UTC)
	switch special := value.Addr().Interface().(type) {
	case *metav1.TypeMeta:
		return
	case *metav1.Time:
		special.Time = moment
		return
	case *metav1.MicroTime:
		special.Time = moment.Add(time.Duration(n) * time.Microsecond)
		return
	case *metav1.Duration:
		special.Duration = time.Duration(n) * 1500 * time.Millisecond
		return
	case *resource.Quantity:
		*special = resource.MustParse(fmt.Sprintf("%d7", n))
		return
	case *intstr.IntOrString:
		if *special = intstr.FromInt32(int32(n)); n%2 == 0 {
			*special = intstr.FromString(fmt.Sprintf("port-%d", n))
		}
		return
	case *runtime.RawExtension:
		special.Raw = []byte(fmt.Sprintf(`{"apiVersion":"v1","kind":"Any","n":%d}`, n))
		return
	case *metav1.FieldsV1:
		*special = metav1.FieldsV1{}
		if err := special.UnmarshalJSON([]byte(fmt.Sprintf(`{"f:a%d":{}}`, n))); err != nil {
			log.Fatal(err)
		}
		return
	}
	f.fillPlain(value, n)
}

func (f *filler) fillPlain(value reflect.Value, n int) {
	switch value.Kind() {
	case reflect.Bool:
		value.SetBool(true)
	case reflect.Int32, reflect.Int64, reflect.Int:
		value.SetInt(int64(n))
	case reflect.Float64:
		value.SetFloat(float64(n) + 0.5)
	case reflect.String:
		value.SetString("text-" + strconv.Itoa(n))
	case reflect.Pointer:
		if !f.isAbove(value.Type().Elem()) {
			value.Set(reflect.New(value.Type().Elem()))
			f.fill(value.Elem())
		}
	case reflect.Slice:
		if value.Type().Elem().Kind() == reflect.Uint8 {
			value.SetBytes([]byte{0, byte(n), 255})
		} else if !f.isAbove(value.Type().Elem()) {
			value.Set(reflect.MakeSlice(value.Type(), 2, 2))
			f.fill(value.Index(0))
			f.fill(value.Index(1))
		}
	case reflect.Map:
		value.Set(reflect.MakeMap(value.Type()))
		for _, name := range []string{"a", "b"} {
			key := reflect.New(value.Type().Key()).Elem()
			key.SetString(name + strconv.Itoa(n))
			held := reflect.New(value.Type().Elem()).Elem()
			f.fill(held)
			value.SetMapIndex(key, held)
		}
	case reflect.Struct:
		f.above = append(f.above, value.Type())
		for index := range value.NumField() {
			if value.Type().Field(index).IsExported() {
				f.fill(value.Field(index))
			}
		}
		f.above = f.above[:len(f.above)-1]
	case reflect.Interface:
		// The cells of tables, which have no form in protobuf.
	default:
		log.Fatalf("no value for a %s", value.Type())
	}
}

func (f *filler) isAbove(held reflect.Type) bool {
	for _, above := range f.above {
		if above == held {
			return true
		}
	}
	return false
}

func turnAll() {
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 16<<20)
	out := json.NewEncoder(os.Stdout)
	for in.Scan() {
		var asked, answer forms
		if err := json.Unmarshal(in.Bytes(), &asked); err != nil {
			log.Fatal(err)
		}
		answer.APIVersion, answer.Kind = asked.APIVersion, asked.Kind
		if err := turn(&asked, &answer); err != nil {
			answer.Error = err.Error()
		}
		if err := out.Encode(answer); err != nil {
			log.Fatal(err)
		}
	}
	if err := in.Err(); err != nil {
		log.Fatal(err)
	}
}

func turn(asked, answer *forms) error {
	kind := schema.FromAPIVersionAndKind(asked.APIVersion, asked.Kind)
	object, _, err := serializer.Decode(asked.Protobuf, nil, nil)
	if err != nil {
		return fmt.Errorf("protobuf: %w", err)
	}
	object.GetObjectKind().SetGroupVersionKind(kind)
	if answer.JSON, err = json.Marshal(object); err != nil {
		return err
	}
	object, err = scheme.Scheme.New(kind)
	if err != nil {
		return err
	}
	strict, err := kjson.UnmarshalStrict(asked.JSON, object)
	if err = errors.Join(append(strict, err)...); err != nil {
		return fmt.Errorf("JSON: %w", err)
	}
	var message bytes.Buffer
	err = serializer.Encode(object, &message)
	answer.Protobuf = message.Bytes()
	return err
}
